"""From a file or a MuData object to the validated cells that a model trains on. Reading files and parsing peaks need no torch."""
