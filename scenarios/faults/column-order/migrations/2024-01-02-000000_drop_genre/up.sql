alter table films drop column genre;
