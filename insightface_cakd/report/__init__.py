"""Pages, plots and curves of measurements."""
