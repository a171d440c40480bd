"""What `make bench` measures: the same application under several servers, and what a deploy costs."""
