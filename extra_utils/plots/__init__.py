"""Pictures of run folders. May import: basics, config, run."""
