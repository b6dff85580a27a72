"""The numbers of a report as files: CSV, LaTeX, Parquet."""
