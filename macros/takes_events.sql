{# Whether a meter takes an event received at this instant: an archived one takes none, and gets none of them back. #}
{% macro takes_events(meters, received_at) -%}
    {{ received_at }} < coalesce({{ meters }}.archived_at, timestamp 'infinity')
    and (
        {{ meters }}.past_archivings is null
        or len(list_filter(
            {{ meters }}.past_archivings,
            lambda past: past.archived_at <= {{ received_at }} and {{ received_at }} < past.unarchived_at
        )) = 0
    )
{%- endmacro %}
