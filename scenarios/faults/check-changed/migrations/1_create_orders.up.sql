create table orders (
    id bigint primary key,
    state text not null constraint orders_state_check check (state in ('new', 'paid', 'sent'))
);
