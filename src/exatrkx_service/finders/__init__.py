"""Track finders of one's own: how they get events, are run, timed and checked."""
