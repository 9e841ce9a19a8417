alter table films add column genre text;
