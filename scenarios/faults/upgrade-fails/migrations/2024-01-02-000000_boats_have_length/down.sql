alter table boats drop column length;
