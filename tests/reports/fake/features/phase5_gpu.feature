@phase5
Feature: GPU: shares of a card
  @criterion-8
  Scenario: Instances are visible
    Then it cannot be had

  @criterion-7
  Scenario: The file service is mounted
    Then it is blocked

  @criterion-6
  Scenario: A backup is made
    Then it is skipped
