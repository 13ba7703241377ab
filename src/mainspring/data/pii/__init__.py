"""Personal and secret things in text, one file a kind: found with their exact places and how sure that is."""
