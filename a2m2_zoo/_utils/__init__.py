"""What every room may use and none of which is about video: files, text, numbers, threads."""
