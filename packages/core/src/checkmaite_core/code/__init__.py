"""The code that work can reach: how it is found, what it imports, its digests, and what a job really used of it."""
