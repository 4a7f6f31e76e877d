"""What the later chapters compute from a run: tables, comparison, ablations, claims."""
