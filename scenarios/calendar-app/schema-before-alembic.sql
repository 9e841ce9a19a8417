-- The database as it was before the project had migrations: what create_all() made of the models.
CREATE TABLE specialists (
    id INTEGER NOT NULL, name VARCHAR(100) NOT NULL, email VARCHAR(200), PRIMARY KEY (id));
CREATE UNIQUE INDEX ix_specialists_email ON specialists (email);
CREATE TABLE services (
    id INTEGER NOT NULL, specialist_id INTEGER NOT NULL, title VARCHAR(200) NOT NULL,
    minutes INTEGER NOT NULL, PRIMARY KEY (id),
    CONSTRAINT fk_services_specialist FOREIGN KEY(specialist_id) REFERENCES specialists (id));
CREATE TABLE bookings (
    id INTEGER NOT NULL, service_id INTEGER NOT NULL, client_name VARCHAR(100) NOT NULL,
    client_phone VARCHAR(30), starts_at DATETIME NOT NULL,
    status VARCHAR(20) DEFAULT 'open' NOT NULL, PRIMARY KEY (id),
    CONSTRAINT fk_bookings_service FOREIGN KEY(service_id) REFERENCES services (id),
    CONSTRAINT ck_bookings_client CHECK (length(client_name) > 0));
CREATE INDEX ix_bookings_starts_at ON bookings (starts_at);
