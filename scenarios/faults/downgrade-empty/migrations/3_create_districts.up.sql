create table districts (city_id integer not null references cities (id), name text);
