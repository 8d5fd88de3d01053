{# What revenue_metrics sums by. A list, so that every model that cuts days into buckets cuts the same ones. #}
{% macro bucket_types() -%}
    select unnest(['day', 'week', 'month', 'year']) as bucket_type
{%- endmacro %}


{# The first day of the bucket a day lies in; weeks begin on Monday. Null for null. #}
{% macro bucket_start(bucket_type, day) -%}
    cast(date_trunc({{ bucket_type }}, {{ day }}) as date)
{%- endmacro %}


{# The first day of the bucket after the one that begins on a day. #}
{% macro next_bucket_start(bucket_type, day) -%}
    cast({{ day }} + case {{ bucket_type }}
        when 'day' then interval '1 day'
        when 'week' then interval '7 days'
        when 'month' then interval '1 month'
        else interval '1 year'
    end as date)
{%- endmacro %}
