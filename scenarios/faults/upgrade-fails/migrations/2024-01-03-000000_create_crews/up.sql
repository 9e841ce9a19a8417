create table crews (boat_id bigint not null references boats (id));
