"""Out-of-distribution detection: from score tables to metrics, figures and a report; reads files, never networks."""
