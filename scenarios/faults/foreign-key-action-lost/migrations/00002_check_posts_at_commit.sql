-- +goose Up
alter table posts drop constraint posts_user_fk;
alter table posts add constraint posts_user_fk
    foreign key (user_id) references users (id) on delete cascade deferrable initially deferred;

-- +goose Down
alter table posts drop constraint posts_user_fk;
alter table posts add constraint posts_user_fk foreign key (user_id) references users (id);
