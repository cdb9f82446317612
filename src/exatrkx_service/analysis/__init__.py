"""Tables, figures and the report, made from the raw samples of a benchmark."""
