"""The pages of this project, and what makes some of them from the code."""
