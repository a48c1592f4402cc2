"""Who made what from what: runs, edges, graphs."""
