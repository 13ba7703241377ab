"""One pipeline for every request, whatever dialect it was spoken in."""
