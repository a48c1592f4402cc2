"""One module a revision; what was released stays as it is."""
