"""Files of rows, one file a format, and how a row becomes a document."""
