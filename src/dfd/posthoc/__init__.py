"""Out-of-distribution scores for detectors that are trained already: functions of a feature bank, without torch."""
