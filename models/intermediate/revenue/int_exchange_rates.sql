{#
    One row per organization, currency and day: what one unit of the currency is in `reporting_currency`, from that day on.
    Empty where none is set. An analyst's rates (exchange_rates.csv) hold from their first day on; before it, those at
    which orders settled do.
#}
{% set reporting_currency = dbt.string_literal(var('reporting_currency') | lower) %}

with

organizations as (

    select * from {{ ref('int_organizations_covered') }}

),

seeded_rates as (

    select
        organizations.organization_id,
        rates.currency,
        rates.rate_date,
        rates.rate,
        'seed' as rate_source,
        min(rates.rate_date) over (partition by organizations.organization_id, rates.currency) as seeded_from_date
    from {{ ref('exchange_rates') }} as rates
    cross join organizations
    where rates.reporting_currency = {{ reporting_currency }} and rates.currency != rates.reporting_currency

),

seeded_currencies as (

    select distinct
        organization_id,
        currency,
        seeded_from_date
    from seeded_rates

),

{# A charge tells the rate of two currencies, whichever of them is reported in. #}
charges as (

    select
        organization_id,
        case when currency = {{ reporting_currency }} then order_currency else currency end as currency,
        cast(booked_at as date) as rate_date,
        case
            when currency = {{ reporting_currency }} then exchange_rate
            when exchange_rate > 0 then cast(1 / cast(exchange_rate as double) as decimal(38, 12))
        end as rate,
        booked_at,
        settlement_movement_key
    from {{ ref('int_settlement_movements') }}
    where
        kind = 'order' and rate_basis in ('event', 'amounts') and currency != order_currency
        and {{ reporting_currency }} in (currency, order_currency)

),

rates_of_charges as (

    select
        charges.organization_id,
        charges.currency,
        charges.rate_date,
        charges.rate,
        'event' as rate_source
    from charges
    left join seeded_currencies as seeded
        on
            charges.organization_id = seeded.organization_id
            and charges.currency = seeded.currency
    where charges.rate is not null and coalesce(charges.rate_date < seeded.seeded_from_date, true)
    qualify row_number() over (
        partition by charges.organization_id, charges.currency, charges.rate_date
        order by charges.booked_at desc, charges.settlement_movement_key
    ) = 1

)

select
    organization_id,
    currency,
    rate_date,
    rate,
    rate_source
from seeded_rates
union all
select
    organization_id,
    currency,
    rate_date,
    rate,
    rate_source
from rates_of_charges
