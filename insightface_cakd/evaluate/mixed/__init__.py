"""Mixed enrolment: one network's gallery is searched with another's probes."""
