"""The five stages and the pipeline that runs them, each in its place."""
