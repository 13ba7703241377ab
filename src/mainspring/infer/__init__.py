"""Room 7: inference that is batched, paged and exactly repeatable."""
