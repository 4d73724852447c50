"""One short file a DVC stage, read in DAG order the paper's method figure."""
