"""The study runner: rows of recipe changes x seeds x folds, trained apart from each other, judged in one table."""
