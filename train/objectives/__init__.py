"""What a network is trained towards: labels, a teacher's answers, its features, lesion masks."""
