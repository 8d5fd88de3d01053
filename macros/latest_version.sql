{#
    Keeps the latest version of each object. modified_at decides, then when a webhook brought it; only versions without
    modified_at fall back to landing order, so that landing the same records in another order gives the same tables.
#}
{% macro latest_version(partition_by, modified_at='modified_at', content='content_hash') -%}
    qualify row_number() over (
        partition by {{ partition_by }}
        order by
            {{ modified_at }} desc nulls last,
            webhook_at desc nulls last,
            (case when {{ modified_at }} is null then load_id end) desc nulls last,
            (case when {{ modified_at }} is null then file_number end) desc nulls last,
            (case when {{ modified_at }} is null then record_number end) desc nulls last,
            {{ content }}
    ) = 1
{%- endmacro %}
