mod actix_facts;
mod config;
mod http_contract;
mod supervision;
