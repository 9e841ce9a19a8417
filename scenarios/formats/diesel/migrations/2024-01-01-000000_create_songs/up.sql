create table songs (id bigserial primary key, title text not null);
