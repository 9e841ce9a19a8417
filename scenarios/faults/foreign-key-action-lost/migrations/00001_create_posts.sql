-- +goose Up
create table users (id bigint primary key);
create table posts (
    id bigint primary key,
    user_id bigint not null,
    constraint posts_user_fk foreign key (user_id) references users (id) on delete cascade
);

-- +goose Down
drop table posts;
drop table users;
