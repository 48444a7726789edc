"""Pages, plots and curves of what was measured."""
