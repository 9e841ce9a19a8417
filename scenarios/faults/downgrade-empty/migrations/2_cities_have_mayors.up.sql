alter table cities add column mayor text;
