"""Mixed enrolment: a gallery of one network under the probes of another."""
