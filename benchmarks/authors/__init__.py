"""Our rules against the authors' public code, one module per paper."""
