"""Features over time: extractors, one file each, and the stage that fills a store with what they see and hear."""
