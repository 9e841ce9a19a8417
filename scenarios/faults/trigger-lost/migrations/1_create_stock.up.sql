create table stock (id integer primary key, amount integer not null);
create table stock_log (stock_id integer not null, amount integer not null);

create trigger stock_changed after update on stock
begin
    insert into stock_log values (new.id, new.amount);
end;
