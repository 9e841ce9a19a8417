-- posts get a body

	ALTER TABLE post ADD COLUMN body text;
