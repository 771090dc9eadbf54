"""Import, train and score made-up robots, and count those that walk."""
