"""Pictures of lineage graphs: for pages, for other programs, for a browser and for notebooks."""
