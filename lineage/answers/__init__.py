"""Answers about histories: what differs, what is out of date, what is touched, how to make it again."""
