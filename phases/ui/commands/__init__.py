"""doit's commands, those that know habitats: some are new, some replace doit's own."""
