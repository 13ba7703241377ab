"""What documents must be, one file a rule: each keeps, changes or drops a document and says why."""
