alter table boats add column length numbre;
