"""Pages of the web, fetched politely and never from where they must not come."""
