"""Room 4: one loop over sources, objectives, transforms and plans."""
